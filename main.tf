# Everything that runs in the cloud. What functions there are, and what each may do, is said by their declarations:
# infra/functions.json and infra/gateway.json follow from them (make catalogue), and build/ from the sources (make package).

locals {
  manifest = jsondecode(file("${path.module}/infra/functions.json"))

  # Known before anything exists: https://cloud.google.com/run/docs/triggering/https-request#deterministic
  address_of = {
    for name, _ in local.manifest.functions : name => "https://${name}-${var.project_number}.${var.region}.run.app"
  }

  labels = { product = "oprina", environment = var.environment }

  settings = merge({
    AGENT_ENDPOINT       = "https://${split("/", var.agent_resource)[3]}-aiplatform.googleapis.com"
    AGENT_RESOURCE       = var.agent_resource
    ALLOWED_ORIGINS      = join(",", var.allowed_origins)
    GOOGLE_CLIENT_ID     = var.google_client_id
    GOOGLE_CLOUD_PROJECT = var.project_id
    GOOGLE_REDIRECT_URI  = var.google_redirect_uri
    JWKS_URL             = module.public_keys.jwks_url
    MAIL_FROM            = var.mail_from
    PAGE_URL             = var.page_url
    # The functions of the scheduler let in nobody but its account, so Cloud Run has checked whoever gets there.
    PLATFORM_CHECKS_CALLERS   = "true"
    SCHEDULER_SERVICE_ACCOUNT = "scheduler@${var.project_id}.iam.gserviceaccount.com"
    SERVICE_ROOT              = "https://{service}-${var.project_number}.${var.region}.run.app"
    SPEECH_ENDPOINT           = "https://${var.speech_location}-speech.googleapis.com"
    SPEECH_RECOGNIZER         = "projects/${var.project_id}/locations/${var.speech_location}/recognizers/_"
    SUPABASE_PUBLISHABLE_KEY  = var.supabase_publishable_key
    SUPABASE_URL              = var.supabase_url
    SUPPORT_ADDRESS           = var.support_address
    TEXTTOSPEECH_ENDPOINT     = "https://texttospeech.googleapis.com"
    TOKEN_ISSUER              = module.public_keys.issuer
  }, var.settings)
}

module "project" {
  source     = "./infra/terraform/project"
  project_id = var.project_id
}

module "public_keys" {
  source     = "./infra/terraform/public_keys"
  name       = "${var.project_id}-keys"
  location   = var.region
  labels     = local.labels
  depends_on = [module.project]
}

module "secrets" {
  source     = "./infra/terraform/secrets"
  names      = toset(flatten([for function in local.manifest.functions : function.secrets]))
  labels     = local.labels
  depends_on = [module.project]
}

module "functions" {
  source          = "./infra/terraform/functions"
  archives        = var.archives
  functions       = local.manifest.functions
  gateway_streams = var.gateway_streams
  labels          = local.labels
  project_id      = var.project_id
  region          = var.region
  secret_ids      = module.secrets.ids
  secret_versions = var.secret_versions
  settings        = local.settings
  depends_on      = [module.project]
}

module "gateway" {
  source      = "./infra/terraform/gateway"
  address_of  = local.address_of
  audience    = "authenticated"
  description = "${path.module}/infra/gateway.json"
  functions   = local.manifest.functions
  issuer      = module.public_keys.issuer
  jwks_url    = module.public_keys.jwks_url
  labels      = local.labels
  project_id  = var.project_id
  region      = var.region
  depends_on  = [module.functions]
}

module "schedules" {
  source     = "./infra/terraform/schedules"
  address_of = local.address_of
  project_id = var.project_id
  region     = var.region
  schedules  = local.manifest.schedules
  depends_on = [module.functions]
}

module "monitoring" {
  source             = "./infra/terraform/monitoring"
  alert_email        = var.alert_email
  billing_account    = var.billing_account
  labels             = local.labels
  monthly_budget_usd = var.monthly_budget_usd
  project_id         = var.project_id
  project_number     = var.project_number
  depends_on         = [module.functions]
}
