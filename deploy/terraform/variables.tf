variable "name" {
  description = "Names everything that is made."
  type        = string
  default     = "weir-audit"
}

variable "object_lock_days" {
  description = "How long nobody, not even the account's root, can delete or change evidence."
  type        = number
  default     = 365
}

variable "stream_retention_hours" {
  description = "How long the stream keeps records: the time that a reader may be down."
  type        = number
  default     = 168
}

variable "alarm_emails" {
  description = "Who is told. Each has to confirm the subscription."
  type        = list(string)
  default     = []
}
