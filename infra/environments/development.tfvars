# development: the same names as in the functions' settings; what is a project's own is given beside this file, by TF_VAR_… or a
# file that is not committed (docs/deploy.md).
environment        = "development"
region             = "us-central1"
speech_location    = "us"
monthly_budget_usd = 100
