# What is watched: metrics out of the functions' own log lines, objectives with burn-rate alerts, a dashboard, a budget.

variable "alert_email" {
  description = "Where alerts go."
  type        = string
}

variable "billing_account" {
  description = "The billing account of the budget; empty for none."
  type        = string
}

variable "labels" {
  description = "Labels of everything that is made."
  type        = map(string)
}

variable "monthly_budget_usd" {
  description = "What a month may cost before people are warned."
  type        = number
}

variable "project_id" {
  description = "The Google Cloud project."
  type        = string
}

variable "project_number" {
  description = "The project's number."
  type        = string
}

locals {
  served = "resource.type=\"cloud_run_revision\" AND jsonPayload.message=\"request served\""

  # https://sre.google/workbook/alerting-on-slos/: how quickly the budget of errors burns, over a long and a short
  # window, so that an alert is both sure and soon over.
  burns = {
    fast = { rate = 14.4, long = "3600s", short = "300s" }
    slow = { rate = 6, long = "21600s", short = "1800s" }
  }
}

resource "google_logging_metric" "requests" {
  name   = "oprina/requests"
  filter = local.served

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    labels {
      key        = "function"
      value_type = "STRING"
    }
    labels {
      key        = "status"
      value_type = "INT64"
    }
    labels {
      key        = "code"
      value_type = "STRING"
    }
  }

  label_extractors = {
    code     = "EXTRACT(jsonPayload.code)"
    function = "EXTRACT(jsonPayload.function)"
    status   = "EXTRACT(jsonPayload.status)"
  }
}

resource "google_logging_metric" "duration" {
  name            = "oprina/request_duration"
  filter          = local.served
  value_extractor = "EXTRACT(jsonPayload.duration_ms)"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "ms"

    labels {
      key        = "function"
      value_type = "STRING"
    }
  }

  label_extractors = {
    function = "EXTRACT(jsonPayload.function)"
  }

  bucket_options {
    exponential_buckets {
      num_finite_buckets = 40
      growth_factor      = 1.3
      scale              = 5
    }
  }
}

resource "google_monitoring_notification_channel" "mail" {
  display_name = "Oprina: those on duty"
  type         = "email"
  labels       = { email_address = var.alert_email }
  user_labels  = var.labels
}

resource "google_monitoring_service" "interface" {
  service_id   = "oprina-interface"
  display_name = "Oprina: the interface"
  user_labels  = var.labels
}

resource "google_monitoring_slo" "answered" {
  service             = google_monitoring_service.interface.service_id
  slo_id              = "answered"
  display_name        = "995 of 1,000 requests are answered without an error of ours, over 28 days"
  goal                = 0.995
  rolling_period_days = 28
  user_labels         = var.labels

  request_based_sli {
    good_total_ratio {
      total_service_filter = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.requests.name}\" resource.type=\"cloud_run_revision\""
      bad_service_filter   = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.requests.name}\" resource.type=\"cloud_run_revision\" metric.label.status>=500 metric.label.code!=\"capacity\""
    }
  }
}

resource "google_monitoring_alert_policy" "burning" {
  for_each = local.burns

  display_name          = "Oprina: the budget of errors burns (${each.key})"
  combiner              = "AND"
  notification_channels = [google_monitoring_notification_channel.mail.name]
  user_labels           = var.labels

  dynamic "conditions" {
    for_each = { long = each.value.long, short = each.value.short }

    content {
      display_name = "${each.value.rate} times as quickly as it may, over ${conditions.value}"

      condition_threshold {
        filter          = "select_slo_burn_rate(\"${google_monitoring_slo.answered.name}\", \"${conditions.value}\")"
        comparison      = "COMPARISON_GT"
        threshold_value = each.value.rate
        duration        = "0s"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "More requests fail than the objective allows. docs/operate.md says where to look first."
  }
}

resource "google_monitoring_dashboard" "overview" {
  project = var.project_id

  dashboard_json = jsonencode({
    displayName = "Oprina"
    mosaicLayout = {
      columns = 12
      tiles = [
        for index, chart in [
          { title = "Requests by function", metric = google_logging_metric.requests.name, aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", group = "metric.label.function" },
          { title = "Errors by code", metric = google_logging_metric.requests.name, aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", group = "metric.label.code" },
          { title = "Requests, 95th percentile in ms", metric = google_logging_metric.duration.name, aligner = "ALIGN_DELTA", reducer = "REDUCE_PERCENTILE_95", group = "metric.label.function" },
          ] : {
          width  = 6
          height = 4
          xPos   = (index % 2) * 6
          yPos   = floor(index / 2) * 4
          widget = {
            title = chart.title
            xyChart = {
              dataSets = [{
                plotType = "LINE"
                timeSeriesQuery = {
                  timeSeriesFilter = {
                    filter = "metric.type=\"logging.googleapis.com/user/${chart.metric}\" resource.type=\"cloud_run_revision\""
                    aggregation = {
                      alignmentPeriod    = "60s"
                      perSeriesAligner   = chart.aligner
                      crossSeriesReducer = chart.reducer
                      groupByFields      = [chart.group]
                    }
                  }
                }
              }]
            }
          }
        }
      ]
    }
  })
}

resource "google_billing_budget" "month" {
  count = var.billing_account == "" ? 0 : 1

  billing_account = var.billing_account
  display_name    = "Oprina, ${var.project_id}"

  budget_filter {
    projects = ["projects/${var.project_number}"]
  }

  amount {
    specified_amount {
      currency_code = "USD"
      units         = tostring(floor(var.monthly_budget_usd))
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]

    content {
      threshold_percent = threshold_rules.value
    }
  }

  all_updates_rule {
    monitoring_notification_channels = [google_monitoring_notification_channel.mail.id]
  }
}
