-- ARGV: 1 fence, 2 writer, 3 total, 4 ending, 5 retention in ms, 6 publish
if field('ending') == ARGV[4] and field('fence') == ARGV[1] and field('writer') == ARGV[2] then
    return {'ok', tonumber(ARGV[3]), '', 0}  -- done before: the reply was lost
end
local no = refusal(standing(), ARGV[1], ARGV[2])
if no then
    return no
end
local length = redis.call('STRLEN', TEXT)
if length ~= tonumber(ARGV[3]) then
    return {'short', length, field('cancel') or '', 0}
end
end_here(ARGV[4], ARGV[5])
return {'ok', length, '', 0}
