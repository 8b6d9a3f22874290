-- ARGV: 1 fence, 2 writer, 3 offset, 4 data, 5 tokens with it, 6 log probabilities, 7 publish
local no = refusal(ARGV[1], ARGV[2])
if no then
    return no
end
local length = add_text(ARGV[1], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6])
keep_alive()
local verdict = length and 'ok' or 'short'
return {verdict, length or redis.call('STRLEN', TEXT), field('cancel') or '', is_orphan()}
