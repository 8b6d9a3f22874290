-- ARGV: 1 digest
local due = redis.call('ZSCORE', ENDS, ARGV[1])
if not due then
    return false
end
local now = now_us()
if tonumber(due) < now then
    drop(ARGV[1])
    return false
end
redis.call('ZADD', USED, now, ARGV[1])
return redis.call('HGET', ANSWERS, ARGV[1])
