"""Stand-ins for Speech-to-Text v2 and Text-to-Speech v1 over the official gRPC types, with real offline engines."""
