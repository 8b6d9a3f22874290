-- Take the last place in a session's line. KEYS: line, leases. ARGV: stream, lease (ms), idle (ms)
-- Returns how many stand before it.
local until_ms = now_ms() + tonumber(ARGV[2])
if redis.call('HSET', KEYS[2], ARGV[1], until_ms) == 1 then
    redis.call('RPUSH', KEYS[1], ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return redis.call('LPOS', KEYS[1], ARGV[1]) or 0
