-- Stopped attempts: when and where somebody tried to get past the agent, or connected while it could not serve. Seven days.
-- `endpoints` has the kernel's counts so far, with the busiest workloads of each endpoint.
SELECT
  from_unixtime(event.time / 1e3) AS tallied,
  log,
  cast(json_extract_scalar(event.reconciliation, '$.stopped') AS bigint) AS stopped,
  json_extract(event.reconciliation, '$.endpoints') AS endpoints
FROM records
WHERE day >= cast(current_date - interval '7' day AS varchar)
  AND cast(json_extract_scalar(event.reconciliation, '$.stopped') AS bigint) > 0
ORDER BY tallied DESC, log
