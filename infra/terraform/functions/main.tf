# One function for each declaration, each as a service account of its own that may do what the declaration asks for.

locals {
  archives = jsondecode(file("${var.archives}/archives.json"))

  granted_roles = merge([
    for name, function in var.functions : { for role in function.roles : "${name} ${role}" => { name = name, role = role } }
  ]...)
  granted_secrets = merge([
    for name, function in var.functions : {
      for secret in function.secrets : "${name} ${secret}" => { name = name, secret = secret }
    }
  ]...)

  # Whatever nobody but Google's own callers may reach takes no traffic from the internet.
  internal = { for name, function in var.functions : name => !function.public }
  # Clients call these at their own address, and show the function a token of ours; a gateway that streams takes over.
  open = { for name, function in var.functions : name => function if function.streams && !var.gateway_streams }
}

resource "google_service_account" "of" {
  for_each = var.functions

  # At most 30 characters; the hash keeps shortened names apart.
  account_id   = length("fn-${each.key}") <= 30 ? "fn-${each.key}" : "fn-${substr(each.key, 0, 18)}-${substr(sha256(each.key), 0, 8)}"
  display_name = "Function ${each.key}"
}

resource "google_project_iam_member" "of" {
  for_each = local.granted_roles

  project = var.project_id
  role    = each.value.role
  member  = google_service_account.of[each.value.name].member
}

resource "google_secret_manager_secret_iam_member" "of" {
  for_each = local.granted_secrets

  secret_id = var.secret_ids[each.value.secret]
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.of[each.value.name].member
}

resource "google_storage_bucket" "archives" {
  #checkov:skip=CKV_GCP_62:Only builds read and write here, and Cloud Audit Logs has them.
  name                        = "${var.project_id}-archives"
  location                    = var.region
  labels                      = var.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  versioning {
    enabled = true
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 30
    }
    action {
      type = "Delete"
    }
  }
}

resource "google_storage_bucket_object" "archive" {
  for_each = var.functions

  # Named for its content: an unchanged function keeps its object, and is not deployed again.
  name   = local.archives[each.key].file
  bucket = google_storage_bucket.archives.name
  source = "${var.archives}/${local.archives[each.key].file}"
}

resource "google_cloudfunctions2_function" "of" {
  #checkov:skip=CKV_GCP_124:Ingress is set: closed for what no client calls, open for the gateway, which has no address of its own.
  for_each = var.functions

  name     = each.key
  location = var.region
  labels   = merge(var.labels, { room = each.value.room })

  build_config {
    runtime     = var.runtime
    entry_point = each.value.entry_point

    source {
      storage_source {
        bucket = google_storage_bucket.archives.name
        object = google_storage_bucket_object.archive[each.key].name
      }
    }
  }

  service_config {
    available_cpu                    = tostring(each.value.cpu)
    available_memory                 = "${each.value.memory_mb}M"
    max_instance_request_concurrency = each.value.concurrency
    min_instance_count               = each.value.min_instances
    max_instance_count               = var.max_instances
    timeout_seconds                  = each.value.timeout_seconds
    ingress_settings                 = local.internal[each.key] ? "ALLOW_INTERNAL_ONLY" : "ALLOW_ALL"
    all_traffic_on_latest_revision   = true
    service_account_email            = google_service_account.of[each.key].email
    environment_variables = merge(
      { GOOGLE_CLOUD_PROJECT = var.project_id },
      {
        for name in concat(each.value.environment.required, each.value.environment.optional) :
        name => var.settings[name] if contains(keys(var.settings), name)
      },
    )

    dynamic "secret_environment_variables" {
      for_each = toset(each.value.secrets)

      content {
        key        = secret_environment_variables.value
        project_id = var.project_id
        secret     = var.secret_ids[secret_environment_variables.value]
        version    = lookup(var.secret_versions, secret_environment_variables.value, "1")
      }
    }
  }

  lifecycle {
    precondition {
      condition     = length(setsubtract(each.value.environment.required, keys(var.settings))) == 0
      error_message = "${each.key} has no value for: ${join(", ", setsubtract(each.value.environment.required, keys(var.settings)))}. Give them in `settings`."
    }
    precondition {
      condition     = each.value.concurrency == 1 || each.value.cpu >= 1
      error_message = "${each.key} serves several requests at once, which takes a whole processor."
    }
    precondition {
      condition     = contains(keys(local.archives), each.key)
      error_message = "There is no archive of ${each.key} in ${var.archives}: run make package."
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.of, google_project_iam_member.of]
}

resource "google_cloud_run_v2_service_iam_member" "open" {
  #checkov:skip=CKV_GCP_102:Only what streams, and only while the gateway does not; the function checks every token itself.
  for_each = local.open

  location = var.region
  name     = google_cloudfunctions2_function.of[each.key].name
  role     = "roles/run.invoker"
  member   = "allUsers"
}
