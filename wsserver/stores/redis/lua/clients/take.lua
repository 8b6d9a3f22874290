-- ARGV: 1 node, 2 digest of the token, 3 digest of its successor, 4 most tokens
-- Returns state, digests of the good tokens, the number of this take, the node where the client was
-- connected (''), and the number of the take before.
if redis.call('EXISTS', CLIENT) == 0 or is_over() then
    return false
end
local tokens, is_good, is_taken = {}, false, false
for token in string.gmatch(field('tokens'), '%S+') do
    tokens[#tokens + 1] = token
    is_good = is_good or token == ARGV[2]
    is_taken = is_taken or token == ARGV[3]
end
if not is_good then
    return false
end
if not is_taken then -- else this is the same step again, because its reply was lost
    if ARGV[2] ~= tokens[1] then
        tokens = {ARGV[2]} -- the first use of a successor ends the others
    end
    tokens[#tokens + 1] = ARGV[3]
    if #tokens > tonumber(ARGV[4]) then
        table.remove(tokens, 2)
    end
    local former = field('away') == '' and field('node') or ''
    redis.call('HSET', CLIENT, 'former', former, 'tokens', table.concat(tokens, ' '))
    -- Greater than that of any take before, of those as well that this Redis has lost.
    local before = field('takes')
    local number = math.max(tonumber(before) + 1, now_ms())
    redis.call('HSET', CLIENT, 'node', ARGV[1], 'before', before)
    redis.call('HSET', CLIENT, 'takes', string.format('%.0f', number))
    be_present()
end
return {field('state'), field('tokens'), field('takes'), field('former'), field('before')}
