variable "address_of" {
  description = "Each function's own address."
  type        = map(string)
}

variable "project_id" {
  description = "The Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where the schedules run."
  type        = string
}

variable "schedules" {
  description = "What the functions' declarations say: name to function, path, times and retries."
  type = map(object({
    function            = string
    path                = string
    cron                = string
    zone                = string
    deadline_seconds    = number
    retries             = number
    min_backoff_seconds = number
  }))
}
