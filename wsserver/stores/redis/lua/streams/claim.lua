-- ARGV: 1 writer, 2 publish. The next fence and the text, in one step.
local state = field('state')
if not state then
    return {'gone'}
end
if state == 'ended' or redis.call('HEXISTS', META, 'cancel') == 1 then
    return {'refused'}
end
-- By the same writer it is asked again: the reply was lost. A tail may have been since; then what
-- was told of the claim, where its text begins, does not hold any more.
local base = tonumber(string.match(field('claims'), '%d+$') or 0)
if field('writer') ~= ARGV[1] or redis.call('STRLEN', TEXT) < base then
    raise_fence(ARGV[1], 'running')
end
keep_alive()
return {
    'ok',
    redis.call('HMGET', META, 'fence', 'claims', 'tokens', 'model', 'meta', 'attempts', 'lease'),
    redis.call('GET', TEXT) or '',
    redis.call('LRANGE', LOGPROBS, 0, -1),
}
