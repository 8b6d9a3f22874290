-- Let a node's lease end soon, if it has one that would last for longer.
-- KEYS: 1 a sorted set of leases. ARGV: 1 node, 2 how long it may still last (ms).
redis.call('ZADD', KEYS[1], 'XX', 'LT', now_ms() + tonumber(ARGV[2]), ARGV[1])
return 1
