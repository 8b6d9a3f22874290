-- ARGV: 4 message, 5 size, 6 head, 7 content, 8 stream, then, where it is to be refused to whoever
-- has been replaced, 'fenced' and the streams that this one replaces
if not is_alive() then
    return {'none'}
end
local message, stream = ARGV[4], ARGV[8]
if redis.call('HEXISTS', TREE, message) == 0 then
    return {'no message', message}
end
local there = cjson.decode(redis.call('HGET', HEADS, message))
local before = there['stream_id']
if type(before) == 'string' and before ~= stream then
    local is_replaced = ARGV[9] ~= 'fenced'
    for index = 10, #ARGV do
        is_replaced = is_replaced or ARGV[index] == before
    end
    if not is_replaced then
        return {'taken up'}
    end
end
if before == stream and there['finish_reason'] and not cjson.decode(ARGV[6])['finish_reason'] then
    return {'ok'}  -- from a writer that slept while another one ended it
end
if stream ~= '' then
    redis.call('HSET', STREAMS, stream, cjson.encode({id, message}))
end
if type(before) == 'string' and before ~= stream then
    redis.call('HDEL', STREAMS, before)
end
add_bytes(tonumber(ARGV[5]) - size_of(message))
redis.call('HSET', TREE, message, ARGV[5] .. ':' .. parent_of(message))
redis.call('HSET', HEADS, message, ARGV[6])
redis.call('HSET', CONTENTS, message, ARGV[7])
-- The streams may be the first, and their key a new one, without a time.
use(ttl > 0 and redis.call('PTTL', STREAMS) == -1)
return {'ok'}
