variable "agent_resource" {
  description = "The deployed assistant, as agent/deploy.py prints it: projects/P/locations/L/reasoningEngines/ID."
  type        = string

  validation {
    condition     = can(regex("^projects/[^/]+/locations/[^/]+/reasoningEngines/[^/]+$", var.agent_resource))
    error_message = "Give the resource as agent/deploy.py prints it: projects/P/locations/L/reasoningEngines/ID."
  }
}

variable "alert_email" {
  description = "Where alerts and the budget's warnings go."
  type        = string

  validation {
    condition     = can(regex("^[^@[:space:]]+@[^@[:space:]]+[.][^@[:space:]]+$", var.alert_email))
    error_message = "This is not an e-mail address."
  }
}

variable "allowed_origins" {
  description = "Origins of the pages that may call the interface from a browser, such as https://app.example.com."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.allowed_origins : can(regex("^https://[^/]+$", origin))])
    error_message = "An origin is https:// and a host, without a path and without a slash at its end."
  }
}

variable "archives" {
  description = "The folder that `python -m infra.packaging` wrote, with archives.json in it."
  type        = string
  default     = "build"
}

variable "billing_account" {
  description = "The billing account that the budget watches; empty for no budget."
  type        = string
  default     = ""

  validation {
    condition     = var.billing_account == "" || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "A billing account is written 000000-000000-000000, as `gcloud billing accounts list` shows it."
  }
}

variable "environment" {
  description = "Which of the environments this is; infra/environments has a file for each."
  type        = string

  validation {
    condition     = contains(["development", "staging", "production"], var.environment)
    error_message = "An environment is development, staging or production."
  }
}

variable "gateway_streams" {
  description = "Whether the gateway was made with --enable-streaming (docs/deploy.md). If not, clients call streaming functions at their own addresses."
  type        = bool
  default     = false
}

variable "google_client_id" {
  description = "The OAuth client that people sign in with Google through. It is no secret; GOOGLE_CLIENT_SECRET is."
  type        = string

  validation {
    condition     = endswith(var.google_client_id, ".apps.googleusercontent.com")
    error_message = "A client's id ends with .apps.googleusercontent.com; the Google Auth Platform's page Clients has it."
  }
}

variable "google_redirect_uri" {
  description = "Where Google sends people back to: the interface's address and /v1/auth/google/callback, as registered there."
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+/v1/auth/google/callback$", var.google_redirect_uri))
    error_message = "The address is https://, the interface's host, and /v1/auth/google/callback."
  }
}

variable "mail_from" {
  description = "Who mails are from, such as: Oprina <no-reply@example.com>."
  type        = string
}

variable "monthly_budget_usd" {
  description = "What a month may cost before people are warned."
  type        = number
  default     = 200

  validation {
    condition     = var.monthly_budget_usd >= 1
    error_message = "A budget is at least 1 USD."
  }
}

variable "page_url" {
  description = "Where people use the product, and where links in mails lead."
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+(/.*[^/])?$", var.page_url))
    error_message = "The page's address begins with https:// and does not end with a slash."
  }
}

variable "project_id" {
  description = "The Google Cloud project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "This is not the id of a project: 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "project_number" {
  description = "The project's number: functions' addresses are made of it, so that nothing has to exist before something else."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{6,12}$", var.project_number))
    error_message = "Give the project's number: gcloud projects describe PROJECT --format='value(projectNumber)'."
  }
}

variable "region" {
  description = "Where functions, queues and schedules run."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region is written like us-central1."
  }
}

variable "secret_versions" {
  description = "The version of each secret that functions are given, by the variable's name. Rotation raises it."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for version in values(var.secret_versions) : can(regex("^[1-9][0-9]*$", version))])
    error_message = "Versions are pinned by their numbers; latest would change under a running function."
  }
}

variable "settings" {
  description = "More settings of functions, by the variable's name; they win over what is worked out here."
  type        = map(string)
  default     = {}

  validation {
    condition     = !contains(keys(var.settings), "ALLOW_WEAK_PASSWORD_HASHES")
    error_message = "Weak password hashes are for test suites alone."
  }
}

variable "speech_location" {
  description = "Where speech is recognized; Chirp 3 is in us, eu, asia-southeast1 and asia-northeast1, not in global."
  type        = string
  default     = "us"

  validation {
    condition     = var.speech_location != "global"
    error_message = "Chirp 3 is not offered in global."
  }
}

variable "supabase_publishable_key" {
  description = "The project's publishable key. It is no secret: it says which project is meant."
  type        = string

  validation {
    condition     = startswith(var.supabase_publishable_key, "sb_publishable_")
    error_message = "Give the new form of the key, sb_publishable_…; the legacy ones end in 2026."
  }
}

variable "supabase_url" {
  description = "The address of the Supabase project."
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+$", var.supabase_url))
    error_message = "The address is https:// and a host, without a slash at its end."
  }
}


variable "support_address" {
  description = "The mailbox that reads what people write to us."
  type        = string

  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+$", var.support_address))
    error_message = "This is not an address of a mailbox."
  }
}
