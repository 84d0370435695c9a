output "kinesis" {
  description = "For `[audit]` in weir.toml."
  value       = { stream = module.stream.name, region = module.stream.region }
}

output "producer_policy_arn" {
  description = "What an agent's role needs, and no more."
  value       = module.stream.producer_policy_arn
}

output "consumer_policy_arn" {
  description = "What a reader of the stream needs, and no more."
  value       = module.stream.consumer_policy_arn
}

output "verifier_policy_arn" {
  description = "What `weir audit verify` needs to read what was delivered, and no more."
  value       = module.archive.verifier_policy_arn
}

output "objects" {
  description = "For `objects` in `[audit]`, with `oversized = \"s3\"`."
  value       = { bucket = module.archive.evidence_bucket, region = module.stream.region }
}

output "objects_producer_policy_arn" {
  description = "What an agent's role needs besides, with `oversized = \"s3\"`."
  value       = module.archive.objects_producer_policy_arn
}

output "objects_reader_policy_arn" {
  description = "What reading these objects needs, and no more."
  value       = module.archive.objects_reader_policy_arn
}

output "evidence" {
  description = "Where the raw lines are."
  value       = "s3://${module.archive.evidence_bucket}/raw/"
}
