output "account_ids" {
  description = "Each function's service account, by its id."
  value       = { for name, account in google_service_account.of : name => account.account_id }
}

output "granted_secrets" {
  description = "Who may read which secret: `function VARIABLE`."
  value       = keys(google_secret_manager_secret_iam_member.of)
}

output "open_to_everyone" {
  description = "Functions that anybody may call at their own address."
  value       = keys(google_cloud_run_v2_service_iam_member.open)
}

output "service_accounts" {
  description = "Each function's service account."
  value       = { for name, account in google_service_account.of : name => account.email }
}
