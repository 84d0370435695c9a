-- Gaps: records that are missing between those that arrived, by log. Seven days. `weir audit verify` proves; this finds.
WITH once AS (
  SELECT DISTINCT log, seq
  FROM records
  WHERE day >= cast(current_date - interval '7' day AS varchar)
),
steps AS (
  SELECT log, seq, lag(seq) OVER (PARTITION BY log ORDER BY seq) AS before_seq
  FROM once
)
SELECT log, before_seq + 1 AS first_missing, seq - 1 AS last_missing, seq - before_seq - 1 AS missing
FROM steps
WHERE seq > before_seq + 1
ORDER BY log, first_missing
