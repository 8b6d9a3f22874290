-- Add an answer to the log and close its ask. Arguments: stream, entry. Done once for each stream.
local stream, blob = ARGV[6], ARGV[7]

if not EPOCH then
    return {'none'}
end
local logged = tonumber(redis.call('ZSCORE', ANSWERS, stream) or nil)
if logged then
    local item = redis.call('LINDEX', LOG, logged - seq() - 1)
    return ok(item or numbered(logged, blob)) -- it may have gone from the log, and keeps its place
end
redis.call('HDEL', ASKS, stream)
local item, number = append(blob)
if redis.call('ZADD', ANSWERS, number, stream) == 1 and redis.call('ZCARD', ANSWERS) == 1 then
    born(ANSWERS)
end
redis.call('ZREMRANGEBYRANK', ANSWERS, 0, -ANSWERS_KEPT - 1)
tell('logged', '', item)
return ok(item)
