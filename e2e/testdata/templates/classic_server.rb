# What the classic Ruby template of OpenFaaS starts for each request. Written to the contract.
require_relative 'function/handler'

ARGV.clear # the port, which is not needed
puts Handler.new.run(ARGF.read)
