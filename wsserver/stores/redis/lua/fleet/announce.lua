-- A worker tells of its models, and lives for another lease.
-- KEYS: workers (hash), leases (sorted set), version. ARGV: node, picture or '' if it is as before,
-- lease ms, channel, publish.
-- Returns 1, or 0 if there was no picture before and none was given.
if ARGV[2] == '' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
    return 0
end
redis.call('ZADD', KEYS[2], now_ms() + tonumber(ARGV[3]), ARGV[1])
if ARGV[2] ~= '' then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    -- From the time on: a Redis that was emptied must not come to a version that a reader knows.
    redis.call('SET', KEYS[3], string.format('%.0f', now_ms() * 1000), 'NX')
    redis.call('INCR', KEYS[3])
    ring(ARGV[4], '')
end
for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, 10 * tonumber(ARGV[3]))
end
return 1
