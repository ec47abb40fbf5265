# API Gateway: checks access tokens against our keys and calls functions as a service account of its own. Terraform
# cannot make a gateway that streams; one that the documented command made is adopted by `terraform import`.

terraform {
  required_providers {
    google-beta = {
      source = "hashicorp/google-beta"
    }
  }
}

variable "address_of" {
  description = "Each function's address."
  type        = map(string)
}

variable "audience" {
  description = "The audience that access tokens name."
  type        = string
}

variable "description" {
  description = "The path of infra/gateway.json."
  type        = string
}

variable "functions" {
  description = "infra/functions.json's `functions`."
  type        = map(object({ public = bool }))
}

variable "issuer" {
  description = "The issuer that access tokens name."
  type        = string
}

variable "jwks_url" {
  description = "Where the issuer's keys are."
  type        = string
}

variable "labels" {
  description = "Labels of everything that is made."
  type        = map(string)
}

variable "project_id" {
  description = "The Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where the gateway and the functions are."
  type        = string
}

locals {
  document = templatefile(var.description, {
    address_of = var.address_of
    audience   = var.audience
    issuer     = var.issuer
    jwks_url   = var.jwks_url
  })
}

resource "google_service_account" "gateway" {
  account_id   = "gateway"
  display_name = "API Gateway: calls the functions that clients use"
}

resource "google_cloud_run_v2_service_iam_member" "gateway_calls" {
  for_each = { for name, function in var.functions : name => function if function.public }

  project  = var.project_id
  location = var.region
  name     = each.key
  role     = "roles/run.invoker"
  member   = google_service_account.gateway.member
}

resource "google_api_gateway_api" "oprina" {
  provider = google-beta

  api_id = "oprina"
  labels = var.labels
}

resource "google_api_gateway_api_config" "current" {
  provider = google-beta

  api = google_api_gateway_api.oprina.api_id
  # A config cannot be changed, only replaced. An API keeps a hundred of them.
  api_config_id = "c-${substr(sha256(local.document), 0, 20)}"
  labels        = var.labels

  openapi_documents {
    document {
      path     = "gateway.json"
      contents = base64encode(local.document)
    }
  }

  gateway_config {
    backend_config {
      google_service_account = google_service_account.gateway.email
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_api_gateway_gateway" "oprina" {
  provider = google-beta

  gateway_id = "oprina"
  api_config = google_api_gateway_api_config.current.id
  region     = var.region
  labels     = var.labels
}

output "url" {
  description = "The interface's address for clients."
  value       = "https://${google_api_gateway_gateway.oprina.default_hostname}"
}
