-- ARGV: 1 node. A client that is connected there stays known. Returns 0 if it is not that node's.
if field('node') ~= ARGV[1] or field('gone') == '1' then
    return 0
end
be_present()
return 1
