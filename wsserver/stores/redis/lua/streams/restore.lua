-- ARGV: 1 fence, 2 writer, 3 claims, 4 text, 5 tokens, 6 model, 7 meta, 8 attempts, 9 for how long
-- its asker is believed to be there (as at its creation), 10 number of log probabilities, then
-- these, last publish.
-- A writer gives back what was lost here: the answer, or its claim. Only where nobody has claimed
-- since: the claims that are left must be the first ones of its own.
local RESTORED_FOR = 45000 -- an asker: who has him says so three times meanwhile
local fence, writer, claims = ARGV[1], ARGV[2], ARGV[3]
local left = redis.call('HMGET', META, 'fence', 'claims', 'state', 'writer')
if left[1] then
    if left[1] == fence and left[4] == writer then
        return {'ok', redis.call('STRLEN', TEXT), field('cancel') or '', 0}
    end
    local is_first = left[2] == '' or string.sub(claims, 1, #left[2] + 1) == left[2] .. ','
    if left[3] == 'ended' or not is_first then
        return {'fenced'}
    end
end
redis.call('HSET', META, 'fence', fence, 'claims', claims, 'writer', writer, 'state', 'running')
redis.call('HSET', META, 'tokens', ARGV[5], 'model', ARGV[6], 'meta', ARGV[7], 'attempts', ARGV[8])
redis.call('SET', TEXT, ARGV[4])
redis.call('DEL', LOGPROBS)
for index = 11, 10 + tonumber(ARGV[10]) do
    redis.call('RPUSH', LOGPROBS, ARGV[index])
end
if not left[1] and ARGV[9] ~= '' then
    redis.call('HSET', META, 'lease', ARGV[9])
    believe(RESTORED_FOR)
end
keep_for(LIVING_TTL)
ring(CHANNEL, 'R|')
return {'ok', #ARGV[4], field('cancel') or '', 0}
