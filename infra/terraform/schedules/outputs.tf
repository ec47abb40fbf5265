output "called" {
  description = "What each schedule calls, with the audience of its token: name to address."
  value       = { for name, job in google_cloud_scheduler_job.of : name => job.http_target[0].uri }
}

output "invoked" {
  description = "Functions that the scheduler may call."
  value       = keys(google_cloud_run_v2_service_iam_member.scheduler_calls)
}
