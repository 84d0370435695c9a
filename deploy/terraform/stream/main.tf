# The stream, its key, and the rights of who writes and who reads.

variable "name" { type = string }
variable "retention_hours" { type = number }
variable "alarms_topic" { type = string }
variable "policies" { type = string }

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
}

resource "aws_kms_key" "audit" {
  description         = "Weir's audit records, in the stream and in S3"
  enable_key_rotation = true
  policy = templatefile("${var.policies}/key.json", {
    account_root = "arn:${local.partition}:iam::${local.account}:root"
    account_id   = local.account
    # By its name: the topic is made with this key.
    topic_arn = "arn:${local.partition}:sns:${data.aws_region.current.name}:${local.account}:${var.alarms_topic}"
  })
}

resource "aws_kms_alias" "audit" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.audit.key_id
}

resource "aws_kinesis_stream" "audit" {
  name             = var.name
  retention_period = var.retention_hours
  encryption_type  = "KMS"
  kms_key_id       = aws_kms_key.audit.arn

  stream_mode_details {
    stream_mode = "ON_DEMAND"
  }
}

resource "aws_iam_policy" "producer" {
  name   = "${var.name}-producer"
  policy = templatefile("${var.policies}/producer.json", { stream_arn = aws_kinesis_stream.audit.arn, key_arn = aws_kms_key.audit.arn })
}

resource "aws_iam_policy" "consumer" {
  name   = "${var.name}-consumer"
  policy = templatefile("${var.policies}/consumer.json", { stream_arn = aws_kinesis_stream.audit.arn, key_arn = aws_kms_key.audit.arn })
}

output "arn" { value = aws_kinesis_stream.audit.arn }
output "name" { value = aws_kinesis_stream.audit.name }
output "region" { value = data.aws_region.current.name }
output "key_arn" { value = aws_kms_key.audit.arn }
output "producer_policy_arn" { value = aws_iam_policy.producer.arn }
output "consumer_policy_arn" { value = aws_iam_policy.consumer.arn }
