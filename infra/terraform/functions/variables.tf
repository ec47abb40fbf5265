variable "archives" {
  description = "The folder with the archives and archives.json."
  type        = string
}

variable "functions" {
  description = "infra/functions.json's `functions`."
  type = map(object({
    callers         = list(string)
    concurrency     = number
    cpu             = number
    entry_point     = string
    environment     = object({ required = list(string), optional = list(string) })
    memory_mb       = number
    min_instances   = number
    path            = string
    public          = bool
    roles           = list(string)
    room            = string
    secrets         = list(string)
    streams         = bool
    timeout_seconds = number
  }))
}

variable "gateway_streams" {
  description = "Whether clients reach streaming functions through the gateway."
  type        = bool
}

variable "labels" {
  description = "Labels of everything that is made."
  type        = map(string)
}

variable "max_instances" {
  description = "How many instances of one function there may be at most."
  type        = number
  default     = 20
}

variable "project_id" {
  description = "The Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where the functions run."
  type        = string
}

variable "runtime" {
  description = "The functions' runtime: the Python that the tests run on."
  type        = string
  default     = "python311"
}

variable "secret_ids" {
  description = "The secret's id, by the variable's name."
  type        = map(string)
}

variable "secret_versions" {
  description = "The pinned version of each secret, by the variable's name; 1 where none is said."
  type        = map(string)
}

variable "settings" {
  description = "What functions read from their environment, by the variable's name."
  type        = map(string)
}
