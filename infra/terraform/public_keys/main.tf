# The issuer's public documents: static objects at an address that is known before anything else exists. Verifiers (the
# functions, API Gateway, Supabase) read them; `python -m infra.keys` writes them.

variable "labels" {
  description = "Labels of everything that is made."
  type        = map(string)
}

variable "location" {
  description = "Where the bucket lies."
  type        = string
}

variable "name" {
  description = "The bucket's name, unique in the world."
  type        = string
}

locals {
  issuer = "https://storage.googleapis.com/${var.name}"
}

resource "google_storage_bucket" "keys" {
  #checkov:skip=CKV_GCP_62:Reads of public keys need no access log.
  #checkov:skip=CKV_GCP_114:These objects are public by purpose: keys that verifiers fetch.
  #checkov:skip=CKV2_GCP_18:As above.
  name                        = var.name
  location                    = var.location
  labels                      = var.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "inherited"
  force_destroy               = false

  versioning {
    enabled = true
  }

  lifecycle_rule {
    condition {
      num_newer_versions = 20
    }
    action {
      type = "Delete"
    }
  }
}

resource "google_storage_bucket_iam_member" "everyone_reads" {
  #checkov:skip=CKV_GCP_28:Public keys are public.
  bucket = google_storage_bucket.keys.name
  role   = "roles/storage.objectViewer"
  member = "allUsers"
}

resource "google_storage_bucket_object" "discovery" {
  bucket        = google_storage_bucket.keys.name
  name          = ".well-known/openid-configuration"
  content_type  = "application/json"
  cache_control = "public, max-age=300"
  content = jsonencode({
    issuer                                = local.issuer
    jwks_uri                              = "${local.issuer}/.well-known/jwks.json"
    id_token_signing_alg_values_supported = ["ES256"]
    response_types_supported              = ["token"]
    subject_types_supported               = ["public"]
  })
}

output "bucket" {
  description = "The bucket's name."
  value       = google_storage_bucket.keys.name
}

output "issuer" {
  description = "The issuer's name in every token."
  value       = local.issuer
}

output "jwks_url" {
  description = "Where the public keys are."
  value       = "${local.issuer}/.well-known/jwks.json"
}
