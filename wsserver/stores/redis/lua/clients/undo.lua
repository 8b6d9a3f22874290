-- ARGV: 1 digest of the successor, 2 node, 3 window (ms), 4 most tokens
-- A take whose reply never came. If it took place, the client is away again. If it did not, it
-- never will: the successor, which nobody has been told, is one that was taken.
if redis.call('EXISTS', CLIENT) == 0 then
    return 0
end
local tokens = {}
local is_taken = false
for token in string.gmatch(field('tokens'), '%S+') do
    tokens[#tokens + 1] = token
    is_taken = is_taken or token == ARGV[1]
end
if not is_taken then
    tokens[#tokens + 1] = ARGV[1]
    if #tokens > tonumber(ARGV[4]) then
        table.remove(tokens, 2)
    end
    redis.call('HSET', CLIENT, 'tokens', table.concat(tokens, ' '))
elseif tokens[#tokens] == ARGV[1] and field('node') == ARGV[2] and field('away') == '' then
    leave(tonumber(ARGV[3]))
end
return 0
