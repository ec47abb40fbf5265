"""What stands in for Supabase Storage's S3 endpoint: signatures checked as S3 does, objects in files on disk."""
