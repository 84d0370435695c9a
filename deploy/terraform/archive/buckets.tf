# Two buckets: evidence, which nobody can change, and tables, which can be made anew from it.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  buckets = { evidence = aws_s3_bucket.evidence, tables = aws_s3_bucket.tables }
}

resource "aws_s3_bucket" "evidence" {
  bucket              = "${var.name}-evidence-${local.account}"
  object_lock_enabled = true
}

resource "aws_s3_bucket" "tables" {
  bucket = "${var.name}-tables-${local.account}"
}

# In compliance mode the lock holds for the account's root too, until the days are over.
resource "aws_s3_bucket_object_lock_configuration" "evidence" {
  bucket = aws_s3_bucket.evidence.id

  rule {
    default_retention {
      mode = "COMPLIANCE"
      days = var.object_lock_days
    }
  }
}

resource "aws_s3_bucket_versioning" "each" {
  for_each = local.buckets
  bucket   = each.value.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "each" {
  for_each = local.buckets
  bucket   = each.value.id

  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "each" {
  for_each                = local.buckets
  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "each" {
  for_each = local.buckets
  bucket   = each.value.id
  policy   = templatefile("${var.policies}/bucket.json", { bucket_arn = each.value.arn })
}

resource "aws_iam_policy" "verifier" {
  name   = "${var.name}-verifier"
  policy = templatefile("${var.policies}/verifier.json", { evidence_arn = aws_s3_bucket.evidence.arn, key_arn = var.key_arn })
}

# For agents with `audit.oversized = "s3"`, beside the stream's producer policy; and for who reads what they stored.
resource "aws_iam_policy" "objects_producer" {
  name   = "${var.name}-objects-producer"
  policy = templatefile("${var.policies}/objects_producer.json", { evidence_arn = aws_s3_bucket.evidence.arn, key_arn = var.key_arn })
}

resource "aws_iam_policy" "objects_reader" {
  name   = "${var.name}-objects-reader"
  policy = templatefile("${var.policies}/objects_reader.json", { evidence_arn = aws_s3_bucket.evidence.arn, key_arn = var.key_arn })
}

output "objects_producer_policy_arn" { value = aws_iam_policy.objects_producer.arn }
output "objects_reader_policy_arn" { value = aws_iam_policy.objects_reader.arn }
output "evidence_bucket" { value = aws_s3_bucket.evidence.id }
output "tables_bucket" { value = aws_s3_bucket.tables.id }
output "verifier_policy_arn" { value = aws_iam_policy.verifier.arn }
