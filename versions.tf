terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.0, < 9.0"
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = ">= 7.0, < 9.0"
    }
  }

  # The bucket is named when it is initialised: terraform init -backend-config=infra/environments/NAME.backend
  backend "gcs" {}
}

provider "google" {
  project = var.project_id
  region  = var.region
}

# API Gateway is in the beta provider alone.
provider "google-beta" {
  project = var.project_id
  region  = var.region
}
