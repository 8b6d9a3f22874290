-- Whoever leads a turn lives. KEYS: line, leases. ARGV: stream, lease (ms), idle (ms)
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
    redis.call('HSET', KEYS[2], ARGV[1], now_ms() + tonumber(ARGV[2]))
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
