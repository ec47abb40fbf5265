output "gateway_url" {
  description = "The interface's address for clients."
  value       = module.gateway.url
}

output "streaming_urls" {
  description = "Where clients call what streams while the gateway does not: path template to address."
  value = var.gateway_streams ? {} : {
    for name, function in local.manifest.functions : function.path => local.address_of[name] if function.streams
  }
}

output "keys_bucket" {
  description = "Where `python -m infra.keys` publishes the public signing keys."
  value       = module.public_keys.bucket
}

output "token_issuer" {
  description = "The issuer to trust in Supabase as third-party auth, with its keys' address."
  value       = { issuer = module.public_keys.issuer, jwks_url = module.public_keys.jwks_url }
}

output "secrets" {
  description = "Secrets that must have a version before the functions start, by the variable each becomes."
  value       = module.secrets.ids
}
