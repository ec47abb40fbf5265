# What a plan holds, against providers that answer nothing of their own. Run from the root:
# terraform test -test-directory=tests/infra -var archives=FOLDER, after `python -m infra.packaging FOLDER`.

mock_provider "google" {}
mock_provider "google-beta" {}

variables {
  agent_resource           = "projects/oprina-test/locations/us-central1/reasoningEngines/1"
  alert_email              = "duty@oprina.test"
  environment              = "staging"
  google_client_id         = "1-test.apps.googleusercontent.com"
  google_redirect_uri      = "https://api.oprina.test/v1/auth/google/callback"
  mail_from                = "Oprina <no-reply@oprina.test>"
  page_url                 = "https://app.oprina.test"
  project_id               = "oprina-test"
  project_number           = "123456789012"
  supabase_publishable_key = "sb_publishable_test"
  supabase_url             = "https://ref.supabase.co"
  support_address          = "help@oprina.test"
}

run "every_function_is_there_with_an_account_of_its_own" {
  command = plan

  assert {
    condition     = length(module.functions.account_ids) == length(jsondecode(file("infra/functions.json")).functions)
    error_message = "Each function has a service account, and nobody else has."
  }
  assert {
    condition     = length(distinct(values(module.functions.account_ids))) == length(module.functions.account_ids)
    error_message = "No two functions share a service account."
  }
  assert {
    condition     = alltrue([for id in values(module.functions.account_ids) : length(id) <= 30 && length(id) >= 6])
    error_message = "A service account's id has 6 to 30 characters."
  }
}

run "a_secret_is_granted_to_who_reads_it_and_nobody_else" {
  command = plan

  assert {
    condition = toset(module.functions.granted_secrets) == toset(flatten([
      for name, function in jsondecode(file("infra/functions.json")).functions : [for secret in function.secrets : "${name} ${secret}"]
    ]))
    error_message = "Grants and declarations differ."
  }
}

run "only_what_streams_is_open_while_the_gateway_does_not_stream" {
  command = plan

  assert {
    condition = toset(module.functions.open_to_everyone) == toset([
      for name, function in jsondecode(file("infra/functions.json")).functions : name if function.streams
    ])
    error_message = "Something else than a streaming function is open."
  }
}

run "nothing_is_open_behind_a_gateway_that_streams" {
  command = plan

  variables {
    gateway_streams = true
  }

  assert {
    condition     = length(module.functions.open_to_everyone) == 0
    error_message = "A function is open to everyone although the gateway reaches it."
  }
}

run "each_schedule_calls_its_function_at_its_own_address" {
  command = plan

  assert {
    condition = module.schedules.called == {
      for name, schedule in jsondecode(file("infra/functions.json")).schedules :
      name => "https://${schedule.function}-123456789012.us-central1.run.app${schedule.path}"
    }
    error_message = "A schedule calls something else than what is declared."
  }
  assert {
    condition = toset(module.schedules.invoked) == toset([
      for schedule in jsondecode(file("infra/functions.json")).schedules : schedule.function
    ])
    error_message = "The scheduler may call more, or less, than it has to."
  }
  assert {
    condition = length(setintersection(toset(module.schedules.invoked), toset([
      for name, function in jsondecode(file("infra/functions.json")).functions : name if function.public
    ]))) == 0
    error_message = "A function that clients reach would believe callers that Cloud Run has not checked for it."
  }
}

run "versions_of_secrets_are_pinned" {
  command = plan

  variables {
    secret_versions = { BACKEND_KEY = "latest" }
  }

  expect_failures = [var.secret_versions]
}

run "weak_password_hashes_cannot_be_allowed" {
  command = plan

  variables {
    settings = { ALLOW_WEAK_PASSWORD_HASHES = "true" }
  }

  expect_failures = [var.settings]
}

run "a_wrong_region_is_said_before_anything_is_asked" {
  command = plan

  variables {
    region = "Central"
  }

  expect_failures = [var.region]
}

run "a_place_without_the_speech_model_is_refused" {
  command = plan

  variables {
    speech_location = "global"
  }

  expect_failures = [var.speech_location]
}

run "a_legacy_key_of_supabase_is_refused" {
  command = plan

  variables {
    supabase_publishable_key = "eyJhbGciOi"
  }

  expect_failures = [var.supabase_publishable_key]
}
