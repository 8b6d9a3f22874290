-- ARGV: 1 node, 2 digest of the token, 3 digest of its successor, 4 most tokens
-- Returns state, digests of the good tokens, the number of this take, the node that had the client,
-- and the number of the take before. When its window ends is for whoever gives it up to say.
local tokens = digests('tokens')
if field('gone') == '1' or not is_among(tokens, ARGV[2]) or is_among(digests('barred'), ARGV[3]) then
    return false
end
if not is_among(tokens, ARGV[3]) then -- else it is the same step again: its reply was lost
    if ARGV[2] ~= tokens[1] then
        tokens = {ARGV[2]} -- the first use of a successor ends the others
    end
    tokens[#tokens + 1] = ARGV[3]
    if #tokens > tonumber(ARGV[4]) then
        table.remove(tokens, 2)
    end
    redis.call('HSET', CLIENT, 'former', field('node'), 'tokens', table.concat(tokens, ' '))
    -- Greater than that of any take before, of those as well that this Redis has lost.
    local before = field('takes')
    local number = math.max(tonumber(before) + 1, now_ms())
    redis.call('HSET', CLIENT, 'node', ARGV[1], 'before', before)
    redis.call('HSET', CLIENT, 'takes', string.format('%.0f', number))
    be_present()
end
return {field('state'), field('tokens'), field('takes'), field('former'), field('before')}
