-- ARGV: 1 fence, 2 writer, 3 offset, 4 data, 5 tokens, 6 log probabilities, 7 publish.
-- The last text of a writer whose engine died, and its claim back.
local no = refusal(standing(), ARGV[1], ARGV[2])
if no then
    return no
end
if not add_text(ARGV[1], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]) then
    return {'short', redis.call('STRLEN', TEXT), '', 0}
end
redis.call('HINCRBY', META, 'attempts', 1)
raise_fence(ARGV[2] .. '.', 'queued')
keep_alive()
return {'ok', redis.call('STRLEN', TEXT), '', 0}
