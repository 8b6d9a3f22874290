-- ARGV: 1 writer, 2 publish. The next fence and the text, in one step.
local state = field('state')
if not state then
    return {'gone'}
end
if state == 'ended' or redis.call('HEXISTS', META, 'cancel') == 1 then
    return {'refused'}
end
if field('writer') ~= ARGV[1] then  -- else it is asked again: the reply was lost
    raise_fence(ARGV[1], 'running')
end
keep_alive()
return {
    'ok',
    redis.call('HMGET', META, 'fence', 'claims', 'tokens', 'model', 'meta', 'attempts'),
    redis.call('GET', TEXT) or '',
    redis.call('LRANGE', LOGPROBS, 0, -1),
}
