-- Forks and breaks: two different records in one place, or a record that is not linked to the one before it. Seven days.
WITH once AS (
  SELECT DISTINCT log, epoch, seq, prev, hash
  FROM records
  WHERE day >= cast(current_date - interval '7' day AS varchar)
),
steps AS (
  SELECT
    log,
    epoch,
    seq,
    prev,
    hash,
    lag(seq) OVER (PARTITION BY log ORDER BY seq, hash) AS before_seq,
    lag(hash) OVER (PARTITION BY log ORDER BY seq, hash) AS before_hash
  FROM once
)
SELECT log, epoch, seq, CASE WHEN seq = before_seq THEN 'fork' ELSE 'not linked' END AS what
FROM steps
WHERE seq = before_seq OR (seq = before_seq + 1 AND prev <> before_hash)
ORDER BY log, seq
