-- ARGV: 1 the dead node, 2 window (ms), 3 when it was seen to be dead (ms)
-- Returns state, tokens and takes of a client that is gone; 1 if it may still come back; 0 if it is
-- not that node's any more.
if field('node') ~= ARGV[1] then
    return 0
end
if tonumber(field('said') or 0) > tonumber(ARGV[3]) then
    return 1 -- the node was only believed dead
end
local away = field('away')
if field('gone') == '1' or (away ~= '' and tonumber(away) <= now_ms()) then
    return bury()
end
if away == '' then
    leave(tonumber(ARGV[2]))
end
return 1
