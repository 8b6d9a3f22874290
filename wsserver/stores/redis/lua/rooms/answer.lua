-- Add an answer to the log and close its ask, if that stands. Arguments: stream, entry, and, where it
-- was added before, the epoch that the log has if that was lost. Done once for each stream.
local stream, blob, renewed = ARGV[6], ARGV[7], ARGV[8]

local function note(number)
    if redis.call('ZADD', ANSWERS, number, stream) == 1 and redis.call('ZCARD', ANSWERS) == 1 then
        born(ANSWERS)
    end
    redis.call('ZREMRANGEBYRANK', ANSWERS, 0, -ANSWERS_KEPT - 1)
end

if not EPOCH then
    return {'none'}
end
local logged = tonumber(redis.call('ZSCORE', ANSWERS, stream) or nil)
if logged == NEVER then
    return {'none'}
elseif logged then
    local item = redis.call('LINDEX', LOG, logged - seq() - 1)
    return ok(item or numbered(logged, blob)) -- it may have gone from the log, and keeps its place
end
if redis.call('HDEL', ASKS, stream) == 0 then
    note(NEVER)
    return {'none'}
end
if renewed ~= '' then
    -- Nobody is shown the place that it has now: its end was told.
    EPOCH = renewed
    redis.call('HSET', META, 'ep', EPOCH)
end
local item, number = append(blob)
note(number)
tell('logged', '', item)
return ok(item)
