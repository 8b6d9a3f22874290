-- ARGV: 1 digest of the successor, 2 node, 3 window (ms), 4 most barred
-- A take whose reply never came. If it took place and was the last one, the client is away on that
-- node: returns its state, tokens and takes. If it did not, it never will: its successor is barred,
-- beside the tokens, none of which may have to go for one that nobody has.
if redis.call('EXISTS', CLIENT) == 0 then
    return false
end
local tokens = digests('tokens')
if is_among(tokens, ARGV[1]) then
    if tokens[#tokens] ~= ARGV[1] or field('node') ~= ARGV[2] or field('gone') == '1' then
        return false
    end
    if field('away') == '' then
        leave(tonumber(ARGV[3]))
    end
    return as_it_stands()
end
local barred = digests('barred')
if not is_among(barred, ARGV[1]) then
    barred[#barred + 1] = ARGV[1]
    if #barred > tonumber(ARGV[4]) then
        table.remove(barred, 1)
    end
    redis.call('HSET', CLIENT, 'barred', table.concat(barred, ' '))
end
return false
