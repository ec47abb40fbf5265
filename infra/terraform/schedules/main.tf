# The clock: what is called at which times, with a token of an account that may call nothing else.

locals {
  # Cloud Scheduler doubles the pause after each failed call up to this.
  longest_backoff_seconds = 3600
}

resource "google_service_account" "scheduler" {
  account_id   = "scheduler"
  display_name = "Cloud Scheduler: calls the functions that have a schedule"
}

resource "google_cloud_run_v2_service_iam_member" "scheduler_calls" {
  for_each = toset([for schedule in var.schedules : schedule.function])

  project  = var.project_id
  location = var.region
  name     = each.value
  role     = "roles/run.invoker"
  member   = google_service_account.scheduler.member
}

resource "google_cloud_scheduler_job" "of" {
  for_each = var.schedules

  name             = each.key
  region           = var.region
  schedule         = each.value.cron
  time_zone        = each.value.zone
  attempt_deadline = "${each.value.deadline_seconds}s"

  retry_config {
    retry_count          = each.value.retries
    min_backoff_duration = "${each.value.min_backoff_seconds}s"
    max_backoff_duration = "${max(local.longest_backoff_seconds, each.value.min_backoff_seconds)}s"
  }

  http_target {
    http_method = "POST"
    uri         = "${var.address_of[each.value.function]}${each.value.path}"

    oidc_token {
      service_account_email = google_service_account.scheduler.email
      audience              = var.address_of[each.value.function]
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.scheduler_calls]
}
