variable "name" { type = string }
variable "stream_arn" { type = string }
variable "key_arn" { type = string }
variable "object_lock_days" { type = number }
variable "policies" { type = string }
variable "athena" { type = string }
