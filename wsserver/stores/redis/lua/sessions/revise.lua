-- ARGV: 4 message, 5 size, 6 head, 7 content, 8 stream
if not is_alive() then
    return {'none'}
end
local message, stream = ARGV[4], ARGV[8]
if redis.call('HEXISTS', TREE, message) == 0 then
    return {'no message', message}
end
local before = cjson.decode(redis.call('HGET', HEADS, message))['stream_id']
if type(before) == 'string' and before ~= stream then
    redis.call('HDEL', STREAMS, before)
end
if stream ~= '' then
    redis.call('HSET', STREAMS, stream, cjson.encode({id, message}))
end
add_bytes(tonumber(ARGV[5]) - size_of(message))
redis.call('HSET', TREE, message, ARGV[5] .. ':' .. parent_of(message))
redis.call('HSET', HEADS, message, ARGV[6])
redis.call('HSET', CONTENTS, message, ARGV[7])
use(false)
return {'ok'}
