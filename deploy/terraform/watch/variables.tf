variable "name" { type = string }
variable "stream_arn" { type = string }
variable "stream_name" { type = string }
variable "key_arn" { type = string }
variable "evidence_bucket" { type = string }
variable "tables_bucket" { type = string }
variable "alarms_topic" { type = string }
variable "emails" { type = list(string) }
variable "policies" { type = string }
variable "consumer" { type = string }

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  bus_arn   = "arn:${local.partition}:events:${data.aws_region.current.name}:${local.account}:event-bus/default"
}
