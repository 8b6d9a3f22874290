-- ARGV: 1 offset. Everything from there on, of one moment.
local offset = tonumber(ARGV[1])
local at = redis.call(
    'HMGET', META, 'fence', 'claims', 'state', 'tokens', 'ending', 'cancel', 'model', 'meta'
)
if not at[1] then
    return {'gone'}
end
local data = redis.call('GETRANGE', TEXT, offset, -1)
return {'ok', at, redis.call('STRLEN', TEXT), data, redis.call('LRANGE', LOGPROBS, 0, -1)}
