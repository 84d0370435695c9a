# The other end of the audit log: a stream that agents write, an archive that nobody can change, tables to ask, and alarms.

locals {
  alarms_topic = "${var.name}-alarms"
}

module "stream" {
  source          = "./stream"
  name            = var.name
  retention_hours = var.stream_retention_hours
  alarms_topic    = local.alarms_topic
  policies        = "${path.module}/policies"
}

module "archive" {
  source           = "./archive"
  name             = var.name
  stream_arn       = module.stream.arn
  key_arn          = module.stream.key_arn
  object_lock_days = var.object_lock_days
  policies         = "${path.module}/policies"
  athena           = "${path.module}/../athena"
}

module "watch" {
  source          = "./watch"
  name            = var.name
  stream_arn      = module.stream.arn
  stream_name     = module.stream.name
  key_arn         = module.stream.key_arn
  evidence_bucket = module.archive.evidence_bucket
  tables_bucket   = module.archive.tables_bucket
  alarms_topic    = local.alarms_topic
  emails          = var.alarm_emails
  policies        = "${path.module}/policies"
  consumer        = "${path.module}/../consumer"
}
