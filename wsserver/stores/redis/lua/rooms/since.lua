-- The changes after a place, and whether all of them are kept. Arguments: place, whether to say
-- that the room is needed.
local from, is_needed = tonumber(ARGV[6]), ARGV[7] == '1'

if not EPOCH then
    return {'none'}
end
if is_needed then
    live(LIFE)
end
local count = place - from
if count < 0 or count > redis.call('LLEN', CHANGES) then
    return ok(0, {})
end
return ok(1, count > 0 and redis.call('LRANGE', CHANGES, -count, -1) or {})
