-- ARGV: 1 node. A client that is connected there stays known. Returns 0 if it is not that node's;
-- one that this Redis has lost is nobody else's.
local node = field('node')
if not node then
    return 1
end
if node ~= ARGV[1] or field('gone') == '1' then
    return 0
end
be_present()
return 1
