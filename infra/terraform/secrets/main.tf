# The secrets, without their values: those are added by commands (docs/deploy.md), so that no variable, plan or state
# ever holds one.

variable "labels" {
  description = "Labels of everything that is made."
  type        = map(string)
}

variable "names" {
  description = "The environment variables that hold secrets."
  type        = set(string)
}

resource "google_secret_manager_secret" "of" {
  #checkov:skip=CKV_GCP_128:Google's own encryption; a key of one's own would add a service to keep alive.
  for_each = var.names

  secret_id = replace(lower(each.value), "_", "-")
  labels    = var.labels

  replication {
    auto {}
  }
}

output "ids" {
  description = "The secret's id in Secret Manager, by the variable's name."
  value       = { for name, secret in google_secret_manager_secret.of : name => secret.secret_id }
}
